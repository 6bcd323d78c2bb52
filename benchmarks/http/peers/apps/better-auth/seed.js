// Makes the tables and the people of a file of JSON: one hash for all, of their one password.
import { readFile } from 'node:fs/promises';
import { symmetricEncrypt } from 'better-auth/crypto';
import { getMigrations } from 'better-auth/db/migration';
import { auth, pool } from './auth.js';

const { password, people } = JSON.parse(await readFile(process.argv[2], 'utf8'));
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
const context = await auth.$context;
const hashed = await context.password.hash(password);
for (const { name, email, secret } of people) {
  const user = await context.internalAdapter.createUser({
    name, email, emailVerified: true, twoFactorEnabled: true,
  });
  await context.internalAdapter.linkAccount({
    userId: user.id, providerId: 'credential', accountId: user.id, password: hashed,
  });
  await context.adapter.create({
    model: 'twoFactor',
    data: {
      userId: user.id,
      secret: await symmetricEncrypt({ key: context.secretConfig, data: `base32:${secret}` }),
      backupCodes: await symmetricEncrypt({ key: context.secretConfig, data: '[]' }),
      verified: true,
    },
  });
}
await pool.end();
