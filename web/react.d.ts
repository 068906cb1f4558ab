/** Hallpass in React: who is signed in, for every component below the provider. */

import type { ReactElement, ReactNode } from 'react';
import type { Hallpass, User } from './hallpass.js';

/** Gives the client to the components below it. Make the client once, outside of any component. */
export declare function HallpassProvider(props: { client: Hallpass; children?: ReactNode }): ReactElement;

/** Returns the client. Throws where no provider is above the component. */
export declare function useHallpass(): Hallpass;

/** Returns the user, null for nobody, or undefined while that is not known, as where the page is rendered on a server. */
export declare function useUser(): User | null | undefined;
