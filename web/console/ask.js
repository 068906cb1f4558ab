// Requests of the console itself, over the client.

import { HallpassError } from '/client/hallpass.js';

/** What the server answers to a request with the token; a refusal is thrown. */
export async function ask(hallpass, method, path, body) {
  const headers = body && { 'Content-Type': 'application/json' };
  const answer = await hallpass.fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const told = (await answer.json().catch(() => null)) ?? {};
  if (answer.ok) return told.data;
  throw new HallpassError({ status: answer.status, error: '', message: `the server answered ${answer.status}`, fields: {}, retryAfter: Number(answer.headers.get('Retry-After')), ...told });
}
