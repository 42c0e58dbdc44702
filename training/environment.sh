#!/bin/sh
# What training and evaluation need: PyTorch with a fast BLAS from Debian 12, the rest in a virtual environment.
set -eu
cd "$(dirname "$0")"
apt-get install -y --no-install-recommends python3-torch python3-onnx python3-numpy libopenblas0-pthread
python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
