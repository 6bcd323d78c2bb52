// Serves oidc-provider with its adapter in memory: opaque tokens, and JWTs signed with ES256.
import cluster from 'node:cluster';
import Provider from 'oidc-provider';

const { PEER_PORT, PEER_JWKS, PEER_SECRET, PEER_API, PEER_COOKIES, PEER_TOKEN } = process.env;

if (cluster.isPrimary) {
  for (let worker = 0; worker < 2; worker += 1) cluster.fork();
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.kill();
  });
} else {
  const provider = new Provider(`http://localhost:${PEER_PORT}`, {
    jwks: JSON.parse(PEER_JWKS),
    cookies: { keys: [PEER_COOKIES] },
    clients: [{
      client_id: 'peer',
      client_secret: PEER_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'ES256',
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    ttl: { ClientCredentials: 86400 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'api:read',
          audience: PEER_API,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  const client = await provider.Client.find('peer');
  const token = new provider.ClientCredentials({ client, jti: PEER_TOKEN });
  token.format = 'opaque';
  await token.save();
  const server = provider.listen(Number(PEER_PORT), '127.0.0.1');
  server.keepAliveTimeout = 0;
}
