/** Hallpass in React: who is signed in, for every component below the provider. */

import { createContext, createElement, useContext, useMemo, useSyncExternalStore } from 'react';

const Context = createContext(null);

/** Turns the client's news into a store: `undefined` until it is known who is signed in. */
function storeOf(client) {
  let user = client.current() ?? undefined;
  const readers = new Set();
  let stop;
  return {
    user: () => user,
    subscribe(reader) {
      readers.add(reader);
      stop ??= client.onChange((next) => {
        user = next;
        for (const reader of readers) reader();
      });
      return () => {
        readers.delete(reader);
        if (readers.size > 0) return;
        stop();
        stop = undefined;
      };
    },
  };
}

export function HallpassProvider({ client, children }) {
  const value = useMemo(() => ({ client, store: storeOf(client) }), [client]);
  return createElement(Context.Provider, { value }, children);
}

function use() {
  const value = useContext(Context);
  if (!value) throw new Error('there is no <HallpassProvider client={…}> around this component');
  return value;
}

/** Returns the client. */
export const useHallpass = () => use().client;

/** Returns the user, null for nobody, or undefined while that is not known, as on a server. */
export function useUser() {
  const { store } = use();
  return useSyncExternalStore(store.subscribe, store.user, () => undefined);
}
