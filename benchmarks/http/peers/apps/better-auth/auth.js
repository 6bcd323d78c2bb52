// better-auth on PostgreSQL with passwords and TOTP; hashes by its documented hooks, Argon2id.
import { hash, verify } from '@node-rs/argon2';
import { betterAuth } from 'better-auth';
import { twoFactor } from 'better-auth/plugins';
import pg from 'pg';

const { PEER_PORT, PEER_DATABASE, PEER_SECRET } = process.env;
const COST = { memoryCost: 19456, timeCost: 2, parallelism: 1 };

export const pool = new pg.Pool({ connectionString: PEER_DATABASE, max: 8 });
export const auth = betterAuth({
  appName: 'peer',
  baseURL: `http://localhost:${PEER_PORT}`,
  secret: PEER_SECRET,
  database: pool,
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  emailAndPassword: {
    enabled: true,
    password: {
      hash: (password) => hash(password, COST),
      verify: ({ hash: hashed, password }) => verify(hashed, password),
    },
  },
  plugins: [twoFactor()],
});
