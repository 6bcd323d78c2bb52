#!/usr/bin/env bash
# oidc-provider: a client of client_credentials alone is refused for the algorithm of ID tokens that it never gets.
#
# Guess before running: an authorization server whose only key is on P-256 serves a machine client
#   (grant client_credentials, no redirect, no response type) with the defaults of its registration: an
#   ID token is only issued to people who sign in (OpenID Connect Core section 2), so how it would be
#   signed is no matter for such a client.
# Version: oidc-provider 9.13.3, Node 20.
# Behavior: the default `id_token_signed_response_alg` of a client is RS256 (OpenID Connect Registration
#   section 2) and is checked against the server's keys whatever the client's grants are. The server
#   starts without a word; the token endpoint then refuses the client with an error about its metadata.
#   The same client that names ES256 has its token.
# Seen: default: 400 invalid_client_metadata; named: 200 Bearer
# For us: what a client registers is checked as it is registered, not at its first token.
set -euo pipefail
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
cd "$place"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts oidc-provider@9.13.3 >/dev/null
cat > server.mjs <<'JS'
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

console.warn = console.info = () => {};
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "ES256", kid: "one" };
const machine = {
  client_secret: "a-secret-that-is-long-enough-for-this",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
};
const provider = new Provider("http://127.0.0.1:9", {
  jwks: { keys: [key] },
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  cookies: { keys: ["a-key-of-cookies-that-are-never-set"] },
  clients: [
    { client_id: "default", ...machine },
    { client_id: "named", id_token_signed_response_alg: "ES256", ...machine },
  ],
});
const server = createServer(provider.callback()).listen(0, "127.0.0.1", async () => {
  const told = [];
  for (const client of ["default", "named"]) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${client}:${machine.client_secret}`)}` },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
    });
    const body = await answer.json();
    told.push(`${client}: ${answer.status} ${body.error ?? body.token_type}`);
  }
  console.log(told.join("; "));
  server.close();
  server.closeAllConnections();
});
JS
seen="$(node server.mjs 2>/dev/null)"
echo "$seen"
test "$seen" = "default: 400 invalid_client_metadata; named: 200 Bearer"
