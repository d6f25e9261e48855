"""The recommendation as text on a terminal."""

from typing import Any

from pipeline.page.answer import duration, percent


def answer_text(told: dict[str, Any]) -> str:
    """The answer of `pipeline.recommend`, the dictionary that --json writes, for a person."""
    if told["basis"] == "prior":
        lines = [f"{told['note']}.", ""]
        lines += [f"  {each['model']}: {each['why']}" for each in told["models"]]
        if told["not_judged"]:
            lines += ["", f"Not judged without a run: {', '.join(told['not_judged'])}."]
        return "\n".join([*lines, "", f"Next: {told['next']['what']}:", *_commands(told["next"])])
    first, *others = told["models"]
    lines = [f"{told['dataset']}: take {first['model']} ({_numbers(first)})"]
    lines += [told["reason"], told["certainty"]]
    lines += [f"Limits: {text}." for text in told["excluded"]]
    if others:
        lines += ["", "Runner-ups:"]
        lines += [
            f"  {each['model']} ({_numbers(each)}"
            + (f", P(best) {each['p_best']:.2f})" if each["tied"] else ", told from the best)")
            for each in others
        ]
    after = told["next"]["tied_after"]
    hope = "" if after is None else f" (models that may be the best: {told['n_tied']}, then about "
    hope = hope and f"{hope}{after:.1f})"
    lines += ["", f"What would change this most: {told['next']['what']}{hope}"]
    return "\n".join([*lines, *_commands(told["next"])])


def _commands(experiment: dict[str, Any]) -> list[str]:
    return [f"  {command}" for command in experiment["commands"]]


def _numbers(model: dict[str, Any]) -> str:
    return f"error {percent(model['error_rate'])}, fit {duration(model['fit_seconds'])}"
