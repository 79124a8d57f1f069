# The day of a stranger, in a network and with a hosts file of its own. TestOperate makes what is in $T.
ip link set lo up
mount --bind "$T/hosts" /etc/hosts
"$NODE" "$PROVIDER" > "$T/provider" 2>&1 &
until grep -q issuer "$T/provider"; do sleep 0.1; done
unset ISSUER

cd "$ROOT"
. "$T/first-day"
server=$!

kill "$server"
wait "$server" || true

# The same issuer, behind a proxy.
cd "$T"
sed -i -e 's|^listen:.*|listen: 127.0.0.1:8080|' -e '/^tls:/d' -e '/^  cert_file/d' -e '/^  key_file/d' etc/issuer.yaml
printf 'trusted_proxies: [127.0.0.1/32]\n' >> etc/issuer.yaml
rm -f var/addr.json
issuer serve --config etc/issuer.yaml --addr-file var/addr.json 2>> var/log &
server=$!
until [ -f var/addr.json ]; do sleep 0.1; done

# whole NAME: the domain names its issuer; an 8 KiB token reaches the issuer, which refuses it as one, in JSON; and a session goes on.
whole() {
  curl -sf https://acme.im/.well-known/im-issuer > document
  [ "$(cat document)" = '{"domain":"acme.im","issuers":["https://im-id.acme.im"]}' ] || { echo "$1: $(cat document)"; exit 1; }
  echo "$1: the domain names its issuer"
  long=$(head -c 6100 /dev/zero | base64 -w 0 | tr -d =)
  status=$(curl -s -o answer -w '%{http_code}' https://im-id.acme.im/me/actors -H "Authorization: DPoP eyJ.$long.x" -H "DPoP: $long")
  [ "$status" = 401 ] && grep -q '"error":"invalid_dpop_proof"' answer || { echo "$1 answered $status: $(cat answer)"; exit 1; }
  echo "$1: a token of 8 KiB is answered by the issuer"
  issuer doctor --config etc/issuer.yaml
  issuer token --refresh --decode
}

nginx -c "$T/nginx.conf" 2> nginx.log &
proxy=$!
until curl -sf https://im-id.acme.im/healthz > /dev/null; do kill -0 "$proxy" || { cat nginx.log; exit 1; }; sleep 0.1; done
whole nginx
kill "$proxy"
wait "$proxy" || true

caddy run --config Caddyfile --adapter caddyfile 2> caddy.log &
proxy=$!
until curl -sf https://im-id.acme.im/healthz > /dev/null; do kill -0 "$proxy" || { cat caddy.log; exit 1; }; sleep 0.1; done
whole caddy
kill "$proxy"
wait "$proxy" || true

kill "$server"
wait "$server" || true
