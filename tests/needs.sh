#!/bin/sh
# The real components the tests start. Missing ones are installed when we may, else the exact command is told and the run fails.
set -u
missing=""
command -v etcd >/dev/null || missing="$missing etcd-server"
command -v etcdctl >/dev/null || missing="$missing etcd-client"
command -v node >/dev/null || missing="$missing nodejs"
command -v chromium >/dev/null || missing="$missing chromium"
/usr/bin/python3 -c 'import swift' 2>/dev/null || missing="$missing python3-swift" # an object storage that speaks S3
command -v qemu-aarch64-static >/dev/null || missing="$missing qemu-user-static" # agents of other architectures
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing for the tests:$missing"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing; } >/dev/null 2>&1 || {
            echo "could not install; run: apt-get install$missing"
            exit 1
        }
    else
        echo "the tests need:$missing"
        echo "run: sudo apt-get install$missing"
        exit 1
    fi
fi
if ! command -v kubectl >/dev/null; then
    echo "the tests need kubectl 1.27 or newer on the PATH: see https://kubernetes.io/docs/tasks/tools/"
    exit 1
fi

# Suites that others wrote and we do not keep copies of, from npm.
cd "$(dirname "$0")/.." || exit 1
suite=json-patch-test-suite@1.1.0
if [ ! -f .needs/$suite/package/tests.json ]; then
    if ! command -v npm >/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq npm; } >/dev/null 2>&1
        fi
        command -v npm >/dev/null || {
            echo "the tests need npm, to fetch $suite"
            echo "run: sudo apt-get install npm"
            exit 1
        }
    fi
    mkdir -p .needs/$suite && (cd .needs/$suite && tar -xzf "$(npm pack --silent $suite)") || {
        rm -rf .needs/$suite
        echo "could not fetch $suite; run: npm pack $suite"
        exit 1
    }
fi

# The page that makes a browser a node, which the tests open.
make --no-print-directory browser >/dev/null || {
    echo "could not build the browser agent; run: make browser"
    exit 1
}
