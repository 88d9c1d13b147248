#!/bin/bash
# run.sh - on the rented machine: trains, packs the results into out.tar, turns the machine off, whatever came of it.
# Beside it: pictures.tar (a folder `pictures`), config.toml, and the programs: the wheels of `make wheel` and
# `make wheel-cuda`, for which a driver is enough, or lora-tools-VERSION.tar.gz where there is a CUDA toolkit too.
set -uo pipefail
cd "$(dirname "$0")"
job() {
	set -e
	tar -xf pictures.tar
	if compgen -G 'lora_tools-*.whl' > /dev/null; then
		python3 -c 'import ensurepip' || { sudo apt-get update -qq; sudo apt-get install -y -qq python3-venv; }
		python3 -m venv programs
		programs/bin/pip install -q lora_tools*.whl
		PATH=$PWD/programs/bin:$PATH
	else
		tar -xzf lora-tools-*.tar.gz
		make -C lora-tools-*/ deps
		make -C lora-tools-*/ -j"$(nproc)" cuda
		PATH=$(echo "$PWD"/lora-tools-*/pipelines):$PATH
	fi
	lora-launch --config_file config.toml --train_data_dir pictures --output_dir out --device cuda
}
(job)
echo "status $?" > status
tar -cf out.tar --ignore-failed-read status log out
${OFF:-sudo poweroff}
