#!/bin/sh
# Installs what `make demo` and `make test` need on a bare Debian 12: RabbitMQ, PostgreSQL, Redis, a C compiler, make, openssl.
# Only what is missing is installed. It must never start a system service, nor stop or restart one that runs: claimrisk
# starts private servers of its own.
#
#   deploy/setup.sh                installs (as root, or through sudo when that asks no password)
#   deploy/setup.sh --prometheus   Prometheus as well, for the tests of the dashboards and alerts
#   deploy/setup.sh --preview      Chromium and npm as well, for pictures of the dashboards
#   deploy/setup.sh --check        installs nothing; says what is missing and exits 1, or exits 0
set -eu

policy=/usr/sbin/policy-rc.d
saved=$policy.claimrisk-saved
marker='# written by the setup of claimrisk; may be removed'

say() {
    printf '%s\n' "$*" >&2
}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
}

# Whether one of the files exists. Called with a pattern, which the shell turns into the files.
exists() {
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

# Whether a command can be run; an unprivileged user's PATH may lack the system folders.
has() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]
}

# Sets `missing` to the packages to install. Looks at files rather than at the package database: quick, and content with
# servers that came another way.
find_missing() {
    missing=
    exists /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server && has epmd || missing="$missing rabbitmq-server"
    exists /usr/lib/postgresql/*/bin/postgres || missing="$missing postgresql"
    has redis-server || missing="$missing redis-server"
    if [ "$prometheus" = yes ]; then
        has prometheus && has promtool || missing="$missing prometheus"
    fi
    if [ "$preview" = yes ]; then
        has chromium || missing="$missing chromium"
        has node || missing="$missing nodejs"
        has npm || missing="$missing npm"
    fi
    has psql || missing="$missing postgresql-client"
    has openssl || missing="$missing openssl"
    has cc || missing="$missing gcc"
    exists /usr/include/stdio.h || missing="$missing libc6-dev"
    has make || missing="$missing make"
    missing=${missing# }
}

# Runs a command with the rights of root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Keeps the packages' scripts from starting services: invoke-rc.d and deb-systemd-invoke ask this file. A file that was
# there before is put aside, unless it is the rest of a run of ours that was killed.
forbid_services() {
    if [ -e "$policy" ] && ! grep -qxF "$marker" "$policy"; then
        as_root mv "$policy" "$saved"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$marker" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

restore_services() {
    if [ -e "$policy" ] && grep -qxF "$marker" "$policy"; then
        as_root rm -f "$policy"
    fi
    if [ -e "$saved" ] && [ ! -e "$policy" ]; then
        as_root mv "$saved" "$policy"
    fi
    [ -z "${log:-}" ] || rm -f "$log"
}

apt_install() {
    # shellcheck disable=SC2086 # the names of packages are to be split
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8 \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $missing </dev/null >>"$log" 2>&1
}

apt_update() {
    as_root apt-get update -qq -o DPkg::Lock::Timeout=300 </dev/null >>"$log" 2>&1
}

# A package also arranges for its service to start with the machine. Nobody asked for that either.
disable_new_services() {
    has systemctl || return 0
    for package in $missing; do
        case $package in
            rabbitmq-server) services='rabbitmq-server.service epmd.socket epmd.service' ;;
            postgresql) services=postgresql.service ;;
            redis-server) services=redis-server.service ;;
            prometheus) services=prometheus.service ;;
            *) services= ;;
        esac
        for service in $services; do
            # One that runs all the same belongs to somebody.
            if ! systemctl is-active --quiet "$service" 2>/dev/null; then
                as_root systemctl disable --quiet "$service" >>"$log" 2>&1 || true
            fi
        done
    done
}

prometheus=no
preview=no
check=no
for argument in "$@"; do
    case $argument in
        --prometheus) prometheus=yes ;;
        --preview) preview=yes ;;
        --check) check=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            say "unknown argument: $argument (see $0 --help)"
            exit 2
            ;;
    esac
done

find_missing
[ -n "$missing" ] || exit 0
if [ "$check" = yes ]; then
    say "missing: $missing"
    say "install with: sudo apt-get install $missing"
    exit 1
fi
if ! has apt-get; then
    say "This is no Debian system. Please install these yourself: $missing"
    exit 1
fi
if [ "$(id -u)" -ne 0 ] && ! { has sudo && sudo -n true 2>/dev/null; }; then
    say "Some packages are missing, and this user may not install them. Please run: sudo apt-get install $missing"
    exit 1
fi

say "installing: $missing"
log=$(mktemp)
trap restore_services EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
forbid_services
if ! apt_install && ! { apt_update && apt_install; }; then
    say "The installation failed. Please run: sudo apt-get install $missing"
    tail -n 20 "$log" >&2
    exit 1
fi
disable_new_services
installed=$missing
find_missing
if [ -n "$missing" ]; then
    say "Still missing after the installation: $missing"
    exit 1
fi
say "installed: $installed"
