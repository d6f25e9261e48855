#!/usr/bin/env bash
# cleanvision 0.3.7: images are judged by their stored numbers, without palette, bit depth and shape. In a palette image
# (GIF, many PNG) these are row numbers of a table of colours, so pictures in different colours are "identical", and
# black is bright if it stands late in the table. 16-bit grey is divided by 255. README: exact duplicates are "images
# that are identical to each other", dark ones "irregularly dark images". Imagelab: "Scores are between 0 and 1".
#
# Seen: a picture in red, the same in blue and the same in grey, as PNG, are a set of three exact duplicates; so are an
# image of 20 x 40 and one of 40 x 20 in one colour. A black photograph is dark as RGB, not dark as GIF (score 0.98). An
# ordinary photograph: as 8-bit grey nothing is wrong with it, as 16-bit grey it is too light, with scores of -76 and
# 196. Nothing is printed. The same files turned to RGB first have none of these, but for the shapes.
# Expected: what it says of the same pictures in RGB.
# It matters because exact duplicates are the ones that are deleted without a look: here red and blue signs are.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  cleanvision==0.3.7 pillow==13.0.0 numpy==2.4.6 pandas==3.1.1
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import contextlib
import inspect
import io
from importlib.metadata import metadata
from pathlib import Path

import numpy as np
from cleanvision import Imagelab
from PIL import Image

readme = " ".join(metadata("cleanvision").get_payload().split())
assert "Images that are identical to each other" in readme and "Irregularly dark images" in readme
assert "Scores are between 0 and 1" in " ".join(inspect.getdoc(Imagelab).split())
draw = np.random.default_rng(0)


def photograph(bright):
    blocks = Image.fromarray(draw.integers(40, 220, (8, 8, 3), dtype=np.uint8)).resize((128, 128), Image.BICUBIC)
    noisy = np.asarray(blocks) + draw.integers(-25, 25, (128, 128, 3))
    return Image.fromarray((bright * noisy).clip(0, 255).astype(np.uint8))


def check(folder):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        lab = Imagelab(data_path=folder, verbose=False)
        lab.find_issues(n_jobs=1, verbose=False)
    sets = [{Path(file).name for file in files} for files in lab.info["exact_duplicates"]["sets"]]
    issues = lab.issues.rename(index=lambda file: Path(file).name)
    return sets, issues, said.getvalue()


for folder in ("stored", "rgb"):
    Path(folder).mkdir()
grey, ordinary = photograph(1).convert("L"), photograph(1).convert("L")
grey.save("stored/grey.png")
for name, colour in (("red", (1, 0, 0)), ("blue", (0, 0, 1))):
    coloured = grey.copy()
    coloured.putpalette([level * part for level in range(256) for part in colour])
    coloured.save(f"stored/{name}.png")
for name, shape in (("wide", (20, 40, 3)), ("tall", (40, 20, 3))):
    Image.fromarray(np.full(shape, 120, np.uint8)).save(f"stored/{name}.png")
black = photograph(0.1)
black.save("stored/black.png")
black.save("stored/black.gif")
ordinary.save("stored/ordinary8.png")
Image.fromarray(np.asarray(ordinary).astype(np.uint16) * 257).save("stored/ordinary16.png")
for file in Path("stored").iterdir():
    image = Image.open(file)
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode == "I;16" else image
    image.convert("RGB").save(f"rgb/{file.name.replace('.gif', '_gif.png')}")

sets, issues, said = check("stored")
scores = issues[["is_dark_issue", "dark_score", "is_light_issue", "light_score"]]
print("exact duplicates:", sorted(sorted(files) for files in sets))
print(scores.loc[["black.png", "black.gif", "ordinary8.png", "ordinary16.png"]].round(2).to_string())
assert {"red.png", "blue.png", "grey.png"} in sets and {"wide.png", "tall.png"} in sets
assert scores.is_dark_issue["black.png"] and not scores.is_dark_issue["black.gif"]
assert scores.dark_score["black.gif"] > 0.9
assert not scores.is_light_issue["ordinary8.png"] and scores.is_light_issue["ordinary16.png"]
assert scores.dark_score["ordinary16.png"] > 100 and scores.light_score["ordinary16.png"] < -50
assert not said.strip(), said

sets, issues, _ = check("rgb")
print("turned to RGB, exact duplicates:", sorted(sorted(files) for files in sets))
assert not any({"red.png", "blue.png", "grey.png"} & files for files in sets)
assert issues.is_dark_issue["black_gif.png"] and not issues.is_light_issue["ordinary16.png"]
P
echo "as described: red and blue are exact duplicates, and black is not dark"
