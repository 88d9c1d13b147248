#!/usr/bin/env bats
# The SBOMs of source, wheel and binary tarball: SPDX 2.3 for its authors' own validator, and true of what is linked.
load root.bash

setup() {
	begin
	binary=$(echo "$DIST"/*-linux-*.spdx.json) wheel=$(echo "$DIST"/lora_tools-*.spdx.json)
}

@test "SPDX's validator finds no fault with the three, and does with one that is torn" {
	python3 -m venv venv
	venv/bin/pip install -q --disable-pip-version-check spdx-tools==0.8.5
	"$ROOT/packaging/dist" "$PWD/dist"
	for sbom in dist/*.spdx.json "$binary" "$wheel"; do venv/bin/pyspdxtools -i "$sbom"; done
	jq '.relationships[1].relatedSpdxElement = "SPDXRef-nonesuch"' "$binary" > torn.spdx.json
	run venv/bin/pyspdxtools -i torn.spdx.json
	[ "$status" = 1 ]
}

@test "wheel and binary tarball: the libraries inside, the numbers that they say themselves, the sum of the file" {
	tar -xJf "$DIST"/*-linux-*.tar.xz
	strings lora-tools-*/bin/lora-prep > words
	for sbom in "$binary" "$wheel"; do
		[ "$(jq '[.relationships[] | select(.relationshipType == "STATIC_LINK")] | length' "$sbom")" = 7 ]
		jq -r '.packages[0] | .checksums[0].checksumValue + "  " + .packageFileName' "$sbom" |
			(cd "$DIST" && sha256sum -c --quiet)
		for name in libpng zlib; do
			version=$(jq -r ".packages[] | select(.name == \"$name\") | .versionInfo" "$sbom")
			version=${version#*:} version=${version%%-*} version=${version%%.dfsg*}
			grep -qiE "(libpng version|inflate) $version" words || { echo "$name $version"; return 1; }
		done
	done
}
