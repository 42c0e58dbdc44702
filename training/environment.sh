#!/bin/sh
# What training, export and evaluation need, in a virtual environment: Python 3.11 and several GB, most of it libraries for
# graphics cards that PyTorch brings along and this does not use.
set -eu
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
