/** Hallpass in Vue: who is signed in, for every component of the app. */

import type { Plugin, ShallowRef } from 'vue';
import type { Hallpass, User } from './hallpass.js';

/** The plugin: `app.use(hallpass(createHallpass()))`. */
export declare function hallpass(client: Hallpass): Plugin;

/** What {@link useHallpass} returns: the client's functions, and the user as a ref. */
export interface HallpassInVue extends Omit<Hallpass, 'user'> {
  /** The user, null for nobody, or undefined while that is not known, as where the page is rendered on a server. */
  readonly user: Readonly<ShallowRef<User | null | undefined>>;
  /** The client itself, whose `user({ fresh: true })` asks the server. */
  readonly client: Hallpass;
}

/** Returns the client's functions, with `user` as a ref. Throws where the app does not use the plugin. */
export declare function useHallpass(): HallpassInVue;
