// Requests of the console, through the client.

import { HallpassError } from '/client/hallpass.js';

/** Sends a request with the token and returns the data of the answer. A refusal is thrown. */
export async function ask(hallpass, method, path, body) {
  const headers = body && { 'Content-Type': 'application/json' };
  const answer = await hallpass.fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const content = (await answer.json().catch(() => null)) ?? {};
  if (answer.ok) return content.data;
  throw new HallpassError({ status: answer.status, error: '', message: `the server answered ${answer.status}`, fields: {}, retryAfter: Number(answer.headers.get('Retry-After')), ...content });
}
