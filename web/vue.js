/** Hallpass in Vue: who is signed in, for every component of the app. */

import { getCurrentInstance, inject, onMounted, shallowReadonly, shallowRef } from 'vue';

const KEY = Symbol('hallpass');

/** Returns the plugin: `app.use(hallpass(createHallpass()))`. */
export function hallpass(client) {
  return {
    install(app) {
      const user = shallowRef(client.current() ?? undefined);
      let stop;
      // Not before a component is mounted: the page that a server has rendered knows of nobody, and must be taken over
      // as it is.
      const start = () => {
        stop ??= client.onChange((next) => {
          user.value = next;
        });
      };
      app.onUnmount?.(() => stop?.());
      app.provide(KEY, { functions: { ...client, user: shallowReadonly(user), client }, start });
    },
  };
}

/** Returns the client's functions, with `user` as a ref in place of the function, which is `client.user`. */
export function useHallpass() {
  const value = inject(KEY, null);
  if (!value) throw new Error('the app does not use hallpass(createHallpass())');
  if (getCurrentInstance()) onMounted(value.start);
  else if (globalThis.document) value.start();
  return value.functions;
}
