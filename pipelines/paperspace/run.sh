#!/bin/bash
# run.sh - on the rented machine: builds, trains, packs the results into out.tar, and turns the machine off, whatever
# came of it.  Beside it: lora-tools-VERSION.tar.gz, pictures.tar (a folder `pictures`), config.toml.
set -uo pipefail
cd "$(dirname "$0")"
job() {
	set -e
	tar -xzf lora-tools-*.tar.gz
	tar -xf pictures.tar
	make -C lora-tools-*/ deps
	make -C lora-tools-*/ -j"$(nproc)" cuda
	PATH=$(echo "$PWD"/lora-tools-*/pipelines):$PATH
	lora-launch --config_file config.toml --train_data_dir pictures --output_dir out --device cuda
}
(job)
echo "status $?" > status
tar -cf out.tar --ignore-failed-read status log out
${OFF:-sudo poweroff}
