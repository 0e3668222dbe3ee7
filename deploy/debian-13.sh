#!/bin/sh
# Set up PostgreSQL 17 with PostGIS and pgvector, Valkey, and Tradepost's user and folders on a plain Debian 13 server, as root.
# Safe to repeat. With `--in FOLDER` it makes such a system in a folder instead (debootstrap), for tests of the production engine.
set -eu

PACKAGES="postgresql-17 postgresql-17-postgis-3 postgresql-17-pgvector valkey-server"
PUBLIC_MIRROR=http://deb.debian.org/debian

say() { printf '%s\n' "$*" >&2; }

in_folder() {
    [ -e "$1/etc/debian_version" ] || debootstrap --variant=minbase trixie "$1" "${MIRROR:-$(mirror)}" >&2
    printf '#!/bin/sh\nexit 101\n' > "$1/usr/sbin/policy-rc.d"  # nothing is started in a folder
    chmod 0755 "$1/usr/sbin/policy-rc.d"
    echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/folder"  # a folder can be made again
    as_this_machine_downloads > "$1/etc/apt/apt.conf.d/99machine"
    mkdir -p "$1/etc/postgresql-common"
    echo 'create_main_cluster = false' > "$1/etc/postgresql-common/createcluster.conf"
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    chroot "$1" apt-get --quiet update >&2
    # shellcheck disable=SC2086  # several packages
    chroot "$1" apt-get --quiet install --yes --no-install-recommends $PACKAGES pgbouncer redis-server >&2
    chroot "$1" apt-get clean
    say "PostgreSQL 17, pgbouncer, Valkey and Redis are in $1; run them by chroot --userspec=postgres."
}

# The mirror of Debian that this machine's own apt is set up with; on another system the public one.
mirror() {
    found=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's|^\(http[^ ]*[^ /]\)/* Debian Debian$|\1|p' | head -n 1)
    printf '%s\n' "${found:-$PUBLIC_MIRROR}"
}

# Its proxy, and whether it looks at the clock.
as_this_machine_downloads() {
    apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::Proxy|Check-|Retries|ForceIPv)' || true
}

on_this_machine() {
    . /etc/os-release
    [ "${VERSION_ID:-}" = 13 ] && [ "${ID:-}" = debian ] || { say "This is for Debian 13; here is ${PRETTY_NAME:-another system}."; exit 1; }
    apt-get update
    # shellcheck disable=SC2086  # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $PACKAGES python3 python3-venv make
    people_and_folders
    database
    systemctl enable --now valkey-server
}

people_and_folders() {
    id tradepost >/dev/null 2>&1 || useradd --system --home-dir /var/lib/tradepost --shell /usr/sbin/nologin tradepost
    install -d -o tradepost -g tradepost -m 0700 /var/lib/tradepost /var/backups/tradepost
    install -d -o root -g root -m 0755 /etc/tradepost
    if [ ! -e /etc/tradepost/secrets.env ]; then
        (umask 077 && printf 'TRADEPOST_SECRET_KEY=%s\n' "$(head -c 32 /dev/urandom | base64)" > /etc/tradepost/secrets.env)
        say "Made /etc/tradepost/secrets.env. Keep a copy elsewhere: without that key no backup can be read."
    fi
}

# People of the machine are people of the database, without passwords: `tradepost` may be the server's role and the one for backups.
database() {
    configuration=/etc/postgresql/17/main
    if ! grep -q '^tradepost ' "$configuration/pg_ident.conf"; then
        printf '%s\n' 'tradepost tradepost tradepost_app' 'tradepost tradepost tradepost_backup' >> "$configuration/pg_ident.conf"
        rules=$(printf 'local all tradepost_app,tradepost_backup peer map=tradepost\n'; cat "$configuration/pg_hba.conf")
        printf '%s\n' "$rules" > "$configuration/pg_hba.conf"
    fi
    cat > "$configuration/conf.d/tradepost.conf" <<'CONF'
shared_preload_libraries = 'pg_stat_statements'
max_connections = 200
random_page_cost = 1.1
CONF
    systemctl restart postgresql
    runuser -u postgres -- psql --quiet --set ON_ERROR_STOP=1 <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['tradepost_app', 'tradepost_backup']) AS name
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
GRANT pg_read_all_data TO tradepost_backup;
ALTER ROLE tradepost_backup BYPASSRLS;
ALTER ROLE tradepost_app SET statement_timeout = '10s';
ALTER ROLE tradepost_app SET lock_timeout = '5s';
ALTER ROLE tradepost_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE tradepost_app SET jit = off;
SQL
}

case "${1:-}" in
    --in) in_folder "${2:?a folder}" ;;
    '') on_this_machine ;;
    *) say "Usage: $0 [--in FOLDER]"; exit 2 ;;
esac
