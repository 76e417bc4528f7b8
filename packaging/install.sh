#!/bin/sh
# Installs levada from a tar file of a release, after comparing its sum.
#
#   sh install.sh --from URL|DIRECTORY [--version V] [--target T] [--to PREFIX]
#
# URL or DIRECTORY holds levada-V-T.tar.gz and SHA256SUMS. PREFIX is ~/.local, or /usr/local for
# root: the program goes to PREFIX/bin, its manual to PREFIX/share/man/man1. Nothing is put there
# unless the sum is right.
set -eu

version=0.1.0
target=
from=
to=

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case "$1" in
        --from) from=$2 ;;
        --version) version=$2 ;;
        --target) target=$2 ;;
        --to) to=$2 ;;
        *) fail "unknown option $1" ;;
    esac
    shift 2
done

[ -n "$from" ] || fail "say --from URL or --from DIRECTORY"
[ "$(uname -s)" = Linux ] || fail "there is a binary for Linux only; build it with cargo"
if [ -z "$target" ]; then
    case "$(uname -m)" in
        x86_64) target=x86_64-unknown-linux-musl ;;
        aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
        *) fail "there is no binary for $(uname -m); build it with cargo" ;;
    esac
fi
if [ -z "$to" ]; then
    if [ "$(id -u)" = 0 ]; then to=/usr/local; else to=$HOME/.local; fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

get() {
    case "$from" in
        http://* | https://*)
            if command -v curl > /dev/null; then
                curl --fail --silent --show-error --location --output "$work/$1" "$from/$1"
            else
                wget --quiet --output-document="$work/$1" "$from/$1"
            fi
            ;;
        *) cp "$from/$1" "$work/$1" ;;
    esac || fail "cannot get $from/$1"
}

name=levada-$version-$target
get SHA256SUMS
get "$name.tar.gz"
# The line of this file alone, which must be there.
grep -F "  $name.tar.gz" "$work/SHA256SUMS" > "$work/sum" || fail "SHA256SUMS lacks $name.tar.gz"
(cd "$work" && sha256sum --check --status sum) || fail "the sum of $name.tar.gz is wrong"

tar -xzf "$work/$name.tar.gz" -C "$work"
# Beside the old one first, so that one that runs is replaced and not written into.
mkdir -p "$to/bin" "$to/share/man/man1"
cp "$work/$name/levada" "$to/bin/.levada.new"
chmod 0755 "$to/bin/.levada.new"
mv "$to/bin/.levada.new" "$to/bin/levada"
cp "$work/$name"/man/*.1 "$to/share/man/man1/"
echo "$to/bin/levada: $("$to/bin/levada" --version)"
