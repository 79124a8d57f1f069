# What docs/deploy.md says, on five machines: each has its own /etc, /usr, /var/lib and /run, above those of this machine, and they share
# a network. TestDeploy makes what is in $T: part-N, with the kind of its machine in kind-N.
ip link set lo up
for address in 10 11 12 13 20; do ip addr add 10.0.0.$address/32 dev lo; done
cleanup() { kill $(jobs -p) 2>/dev/null || true; }
trap cleanup EXIT

# machine NAME: starts one.
machine() {
	mkdir -p "$T/$1"/{etc,usr,lib,run,cwd}/{u,w}
	unshare -m bash -eu -c '
		mount --make-rprivate /
		over() { mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/u,workdir=$1/w" "$2"; }
		over "$0/etc" /etc; over "$0/usr" /usr; over "$0/lib" /var/lib
		mount -t tmpfs tmpfs /run
		mkdir -p /run/systemd/system /run/postgresql /run/haproxy /run/units
		chown postgres /run/postgresql
		printf "127.0.0.1 localhost\n10.0.0.10 im-id.acme.im\n10.0.0.20 db.acme.im\n" > /etc/hosts
		echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/unsafe
		rm -rf /etc/issuer
		install -m 755 "$T/systemctl" /usr/bin/systemctl
		touch "$0/up"
		exec sleep infinity' "$T/$1" &
	echo $! > "$T/$1/pid"
	until [ -e "$T/$1/up" ]; do kill -0 $!; sleep 0.05; done
}

# on NAME PART: runs a part there, in a folder with the package and the other files that the document names.
on() {
	local node=$1 address=
	case $1 in one) address=10.0.0.11;; two) address=10.0.0.12;; three) address=10.0.0.13;; esac
	(cd "$T/$1/cwd" && cp "$T"/*.deb "$T"/{cert,key,db-ca,certificate-and-key}.pem "$T/kek" . && ln -sfn "$ROOT/packaging" packaging &&
		NODE=$node ADDRESS=$address nsenter -m -t "$(cat "$T/$1/pid")" --wd="$PWD" bash -eu -o pipefail "$T/$2")
}

for name in single db one two three balancer; do machine $name; done
for part in "$T"/part-*; do
	number=${part##*-}
	kind=$(cat "$T/kind-$number")
	case $kind in
	"a machine of its own") where=single;;
	"the machine of the database") where=db;;
	"each node") where="one two three";;
	"one node") where=one;;
	"the balancer") where=balancer;;
	*) echo "no machine is $kind"; exit 1;;
	esac
	for name in $where; do
		echo "== $number on $name"
		on $name part-$number
	done
	if [ ! -e "$T/answers" ] && [ -e "$T/one/cwd/rooms.json" ]; then # from now on a client asks, whatever happens
		client=rooms:$(jq -r .secret "$T/one/cwd/rooms.json")
		while true; do
			curl -s -o /dev/null -w '%{http_code}\n' -u "$client" -d token=x --resolve im-id.acme.im:443:10.0.0.10 https://im-id.acme.im/introspect
			sleep 0.02
		done > "$T/answers" &
	fi
done
echo "== answers"
sort "$T/answers" | uniq -c
