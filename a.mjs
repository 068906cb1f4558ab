import { createHallpass, HallpassError } from 'hallpass-client';
import { createElement as h } from 'react';
import { renderToString } from 'react-dom/server';
import { HallpassProvider, useUser } from 'hallpass-client/react';
const client = createHallpass({ url: process.argv[2] });
console.log('location' in globalThis, client.current());
client.onChange((user) => console.log('onChange', user?.email ?? user));
const App = () => h('p', null, String(useUser()));
console.log(renderToString(h(HallpassProvider, { client }, h(App))));
try { await client.signIn({ email: 'ada@example.com', password: 'wrong' }); } catch (e) { console.log(e instanceof HallpassError, e.status, e.error); }
console.log((await client.signIn({ email: 'ada@example.com', password: 'correct horse battery' })).email);
console.log((await (await client.fetch('/user/')).json()).data.email, client.claims().amr);
await client.signOut(); console.log(client.current());
