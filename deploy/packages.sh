# shellcheck shell=bash
# Which Debian packages the scripts need, and how they are installed; sourced by deploy/quickstart and tests/run.

packages_build=(gcc libc6-dev cmake ninja-build pkg-config liburing-dev libssl-dev libxxhash-dev libyaml-dev
                libjson-c-dev libhttp-parser-dev libncurses-dev)
case $(uname -m) in x86_64) packages_build+=(libipsec-mb-dev) ;; esac
packages_tests=(libcriterion-dev python3 strace iproute2 curl)
packages_deb=(debhelper dpkg-dev fakeroot)
packages_package=(debootstrap lintian)
packages_interop=(python3-venv ca-certificates)
packages_wireshark=(tshark)
packages_fuzz=(clang libclang-rt-14-dev llvm)
packages_tidy=(clang-tidy clang-format)
packages_aarch64=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross liburing-dev:arm64 libssl-dev:arm64 libxxhash-dev:arm64
                  libyaml-dev:arm64 libjson-c-dev:arm64 libhttp-parser2.9:arm64 libncurses-dev:arm64)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root and there is no sudo; run as root: $*"
    fi
}

# Of this architecture, unless the name asks for another: several may be installed beside each other.
installed() {
    local arch
    case $1 in *:*) arch=${1#*:} ;; *) arch=$(dpkg --print-architecture) ;; esac
    dpkg-query -W -f='${Architecture} ${db:Status-Status}\n' "${1%:*}" 2>/dev/null | grep -qE "^($arch|all) installed\$"
}

# need_packages INSTALL PACKAGE...: installs those that are missing, and says which; INSTALL=no only tells.
need_packages() {
    local install=$1 missing=() package
    shift
    command -v dpkg-query >/dev/null || { say "no dpkg here; going on as if these were installed: $*"; return; }
    for package in "$@"; do installed "$package" || missing+=("$package"); done
    if [ ${#missing[@]} -eq 0 ]; then say "packages: all $# are installed"; return; fi
    if [ "$install" = no ]; then say "packages missing, not installed as asked (--no-install): ${missing[*]}"; return; fi
    say "packages: installing with apt-get: ${missing[*]}"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}
