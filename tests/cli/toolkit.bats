#!/usr/bin/env bats
# Where the CUDA toolkit is found: folders laid out as an installed one, as Debian's, and as NVIDIA's Python packages,
# with nothing in their files but names and versions.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	cd "$BATS_TEST_TMPDIR" || return 1
	MACHINE=$(uname -m)
}

# compiler FILE KINDS: an nvcc that knows these kinds of card
compiler() { mkdir -p "${1%/*}"; printf '#!/bin/sh\nprintf "sm_%%s\\n" %s\n' "$2" > "$1"; chmod +x "$1"; }
# runtime INCLUDE LIBRARY VERSION, blas INCLUDE LIBRARY NAME
runtime() { mkdir -p "$1" "$2"; echo "#define CUDART_VERSION  $3" > "$1/cuda_runtime_api.h"; touch "$2/libcudart_static.a"; }
blas() { mkdir -p "$1" "$2"; touch "$1/cublas_v2.h" "$2/$3"; }

installed() {
	compiler "$1/bin/nvcc" '75 80 86 89 90 100 120'; runtime "$1/include" "$1/lib64" 13000
	blas "$1/include" "$1/lib64" libcublas.so.13
}

found() { "$ROOT/cuda/toolkit" "$@" > out 2> err; }
is() { grep -qxF -- "$1" out || { echo "not found: $1"; cat out err; return 1; }; }
made() { make --no-print-directory -C "$ROOT" BUILD="$PWD/out.d" CUDA="$PWD/$1" -n "${@:2}" 2>&1; }

@test "an installed toolkit; CUDA_HOME names another before the nvcc of PATH" {
	installed here; installed there
	found here
	is nvcc=here/bin/nvcc; is include=here/include; is cublas=here/lib64/libcublas.so.13
	is cudart=here/lib64/libcudart_static.a
	PATH=$PWD/here/bin:$PATH CUDA_HOME='' found
	is "nvcc=$(realpath here)/bin/nvcc"
	PATH=$PWD/here/bin:$PATH CUDA_HOME=$PWD/there found
	is "nvcc=$PWD/there/bin/nvcc"
}

@test "Debian's: libraries lie in the machine's folder" {
	compiler usr/bin/nvcc '75 80 86'; runtime usr/include "usr/lib/$MACHINE-linux-gnu" 11080
	blas usr/include "usr/lib/$MACHINE-linux-gnu" libcublas.so.11
	found usr
	is "cublas=usr/lib/$MACHINE-linux-gnu/libcublas.so.11"
}

@test "NVIDIA's Python packages: 13 is one folder, 12 has one for each; libraries have no .so without a number" {
	mkdir -p venv/bin venv/lib/python3.11/site-packages; ln -s /bin/true venv/bin/python3
	n=venv/lib/python3.11/site-packages/nvidia
	compiler $n/cu13/bin/nvcc 80; runtime $n/cu13/include $n/cu13/lib 13050
	blas $n/cu13/include $n/cu13/lib libcublas.so.13
	found $n/cu13
	is nvcc=$n/cu13/bin/nvcc; is cublas=$n/cu13/lib/libcublas.so.13
	runtime $n/cuda_runtime/include $n/cuda_runtime/lib 12090; blas $n/cublas/include $n/cublas/lib libcublas.so.12
	compiler elsewhere/bin/nvcc 80
	NVCC=elsewhere/bin/nvcc found $n
	is nvcc=elsewhere/bin/nvcc; is cublas=$n/cublas/lib/libcublas.so.12
	is include=$n/cuda_runtime/include; is include=$n/cublas/include
	# where there is no other
	[ -e /usr/bin/nvcc ] || [ -e /usr/local/cuda/bin/nvcc ] || { PATH=$PWD/venv/bin:/usr/bin:/bin found; is "nvcc=$PWD/$n/cu13/bin/nvcc"; }
}

@test "a cuBLAS of another major version is not taken; what is missing is said, with the places" {
	installed here; rm here/lib64/libcublas.so.13; touch here/lib64/libcublas.so.12
	! found here || false
	grep -qF 'missing libcublas.so.13; looked in here' err || { cat err; return 1; }
	is nvcc=here/bin/nvcc
}

@test "make cuda: kinds of card that this nvcc does not know are left out; PTX of the oldest is always there" {
	installed here
	made here cuda | grep -F -- "-gencode 'arch=compute_80,code=[sm_80,sm_86,sm_89,sm_90,sm_120,compute_80]' -gencode arch=compute_120,code=compute_120"
	compiler here/bin/nvcc '52 80 86 90'
	made here cuda > all
	! grep -qF 120 all || false
	grep -qF -- "code=[sm_80,sm_86,sm_90,compute_80]' -gencode arch=compute_90,code=compute_90" all
	made here cuda CUDA_ARCHS=86 | grep -F -- "code=[sm_86,compute_80]' -gencode arch=compute_86,code=compute_86"
}

@test "make cuda: without a toolkit nothing is compiled, and not with the stand-in's headers" {
	status=0; make --no-print-directory -C "$ROOT" BUILD="$PWD/out.d" CUDA=/nowhere cuda > out 2>&1 || status=$?
	[ $status != 0 ]
	grep -qF 'no CUDA toolkit: missing nvcc cuda_runtime_api.h' out || { cat out; return 1; }
	! grep -qE '  (CC|NVCC|LINK)  ' out || false
	installed here
	made here cuda | grep 'cuda/pool.c' | grep -F "here/include"
	! made here cuda | grep -F tests/emu
}
