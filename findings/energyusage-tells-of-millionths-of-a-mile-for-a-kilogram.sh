#!/usr/bin/env bash
# energyusage 0.0.14 reports the CO2 of a training as miles driven and as a share of a household's day. Its docstrings
# give the rates: "4.09 x 10-4 metric tons CO2E/mile" and "8.35 metric tons CO2 per home per year". A rate per mile is
# to be divided by; the code multiplies, and it also divides the household's day by 52 and 7 where it should multiply.
#
# Seen: 10 kg of CO2 are reported as 4.09e-06 miles, seven millimetres, and as 3.29e-06 % of a household's day. Right
# are 24.4 miles, 6 million times as much, and 43.7 %. The minutes of television are right. The energy mix that is
# printed for a country has the shares of petroleum and natural gas the wrong way round: Germany 23.1 % petroleum, whose
# data say 35.9 %.
# Expected: mass divided by the rate that the docstring states.
# It matters because the comparison is what is quoted of a report: it says that no training costs anything.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check energyusage==0.0.14 requests==2.34.2 reportlab==5.1.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import contextlib
import inspect
import io
import math

from energyusage import convert, utils
from energyusage.evaluate import energy_mix

assert "4.09 x 10-4 metric tons CO2E/mile" in " ".join(inspect.getdoc(convert.carbon_to_miles).split())
assert "8.35 metric tons CO2 per home per year" in " ".join(inspect.getdoc(convert.carbon_to_home).split())
assert "0.097 kg CO2 / 1 hour tv" in " ".join(inspect.getdoc(convert.carbon_to_tv).split())


def printed(*what):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        utils.log(*what)
    lines = [line.rsplit(":", 1) for line in text.getvalue().splitlines() if ":" in line]
    return {name: float(value.split()[0].rstrip("%")) for name, value in lines if value}


kilograms = 10.0
given = printed("Emissions", kilograms)
miles, minutes, percent = kilograms / 0.409, kilograms / 0.097 * 60, 100 * kilograms / (8350 / 365)
said = given["Equivalent miles driven"]
print(f"{kilograms:.0f} kg: {said:.3g} miles reported, {miles:.1f} by the stated rate, {miles / said:,.0f} times it")
assert math.isclose(said, 4.09e-6, rel_tol=0.01)
assert math.isclose(convert.carbon_to_miles(kilograms), kilograms * 4.09e-7)
said = given["Percentage of CO2 used in a US household/day"]
print(f"{said:.3g} % of a household's day reported, {percent:.1f} % by the stated rate")
assert said < 1e-5 and percent > 40
said = given["Equivalent minutes of 32-inch LCD TV watched"]
print(f"{said:.0f} minutes of television reported, {minutes:.0f} by the stated rate")
assert math.isclose(said, minutes, rel_tol=0.01)

data = utils.get_data("data/json/energy-mix-intl_2016.json")["Germany"]
petroleum, gas = 100 * data["petroleum"] / data["total"], 100 * data["naturalGas"] / data["total"]
given = printed("Energy Data", energy_mix("Germany", "2016"), "Germany")
print(f"Germany: petroleum {given['Petroleum']:.1f} % and natural gas {given['Natural Gas']:.1f} % printed,", end=" ")
print(f"{petroleum:.1f} % and {gas:.1f} % in the data")
assert abs(given["Petroleum"] - gas) < 0.01 and abs(given["Natural Gas"] - petroleum) < 0.01
assert abs(petroleum - gas) > 10
P
echo "as described: kilograms are multiplied by a rate per mile"
