// What the declarations promise, and what they refuse: an error that does not come is an error.

import {
  HallpassError,
  createHallpass,
  type Claims,
  type ErrorSlug,
  type SecondFactorNeeded,
  type User,
  type VerificationNeeded,
} from '../../web/hallpass.js';
import { HallpassProvider, useUser } from '../../web/react.js';
import { hallpass, useHallpass } from '../../web/vue.js';

const client = createHallpass({
  url: new URL('https://id.example'),
  cookie: false,
  origins: ['https://api.example'],
});

const { signIn, secondFactor, signUp, signOut, user, current, fetch, onChange, changePassword, deleteUser, token, claims, now } = client;

export async function promised(): Promise<void> {
  const entered: User | SecondFactorNeeded = await signIn({ email: 'ada@example.com', password: 'correct horse battery' });
  const ada: User = 'next' in entered ? await secondFactor({ code: '287082' }) : entered;
  const back: string = (await secondFactor({ passkey: true })).id + (await client.signInWithPasskey({ autofill: true })).id;
  const copied: boolean = (await client.addPasskey({ name: '', password: '' })).synced;
  const methods: string[] = 'next' in entered ? entered.methods : [];
  const made: User | SecondFactorNeeded | VerificationNeeded = await signUp({ email: ada.email, password: '' });
  const roles: string[] = 'next' in made ? [made.next] : made.roles;
  const somebody: User | null = await user({ fresh: true });
  const answer: Response = await fetch('/user/', { method: 'PATCH', body: roles.join() });
  const stop: () => void = onChange((it) => it?.name?.length);
  const said: Claims | null = claims();
  const held: string | null = await token();
  const year: number = now().getFullYear();
  await changePassword({ current_password: '', new_password: '' });
  await deleteUser({ password: '' });
  await client.forgotPassword({ email: '' });
  await client.resetPassword({ token: '', new_password: '' });
  await client.verifyEmail({ token: '' });
  await client.resendVerification();
  await client.changeEmail({ email: '', password: '' });
  await client.confirmEmail({ token: '' });
  await client.undoEmailChange({ token: '' });
  await client.askForLink({ email: '' });
  const linked: User | SecondFactorNeeded = await client.signInByLink({ email: '', code: '' });
  await signOut({ everywhere: true }).catch((error: unknown) => {
    if (error instanceof HallpassError) [error.status.toFixed(), error.fields.email?.join(), error.retryAfter?.toFixed()];
  });
  const known: User | null = current();
  const slug: ErrorSlug = 'token_expired';
  const reacts: User | null | undefined = useUser();
  const vues: User | null | undefined = useHallpass().user.value;
  void [back, copied, linked, methods, somebody, answer, stop, said, held, year, known, slug, reacts, vues, HallpassProvider, hallpass];
}

export function refused(): void {
  // @ts-expect-error: the password is missing
  void signIn({ email: 'ada@example.com' });
  // @ts-expect-error: a second factor may be needed
  void signIn({ email: '', password: '' }).then((it) => it.email);
  // @ts-expect-error: an answer is missing
  void secondFactor({});
  // @ts-expect-error: the code is of an address
  void client.signInByLink({ code: '287082' });
  // @ts-expect-error: a name is missing
  void client.addPasskey({ password: '' });
  // @ts-expect-error: nobody may be signed in
  void user().then((it) => it.email);
  // @ts-expect-error: a name may be null
  void user().then((it) => it && it.name.length);
  // @ts-expect-error: the user of an app in Vue is read, not set
  useHallpass().user.value = null;
  // @ts-expect-error: no such option
  createHallpass({ storage: localStorage });
}
