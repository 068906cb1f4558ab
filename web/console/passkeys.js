// Passkeys: whether this page has them, the offer in the list of the e-mail field, and the errors of browsers.

import { explain } from './dom.js';
import { t } from './language.js';

/** Browsers have passkeys for names, not for addresses such as 127.0.0.1. */
export const hasPasskeys = () => Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) && !/^[\d.]+$|^\[/.test(location.hostname);

/** Returns the address of this page by a name that has passkeys; null if there is none to be known. */
export function namedPage() {
  const isLoopback = /^(127\.|\[::1\])/.test(location.hostname);
  return isLoopback ? location.href.replace(location.hostname, 'localhost') : null;
}

let offer;

/** Offers the passkeys of this device in the list of the e-mail field, in place of an earlier offer. */
export async function offerPasskeys(hallpass) {
  const { signal } = withdrawOffer();
  // Whoever wants to see why there is none presses the button.
  if (hasPasskeys()) await hallpass.signInWithPasskey({ autofill: true, signal }).catch(() => {});
}

/** Ends the offer: a browser asks for one passkey at a time. Returns the controller of the next one. */
export function withdrawOffer() {
  offer?.abort();
  offer = new AbortController();
  return offer;
}

addEventListener('hashchange', withdrawOffer);

/** Returns a sentence about an error of a passkey. Those of the browser have no status. */
export function explainPasskey(error) {
  if (error.error === 'second_factor_invalid') return t('This passkey is not accepted here: it may have been removed, or it took too long.');
  if (!(error instanceof DOMException)) return explain(error);
  if (error.name === 'InvalidStateError') return t('This device has a passkey for your account already.');
  if (error.name === 'SecurityError') return t('Passkeys are not set up for this address. Tell the operator: passkey.rp_id.');
  if (error.name === 'NotSupportedError') return t('This browser or this device has no passkeys that can be used here.');
  return t('No passkey was chosen.');
}
