-- Passkeys: how the browser reaches the authenticator, so that a sign-in asks for it at once.

-- the transports that the browser named ('internal', 'hybrid', 'usb'), sorted, separated by one space; empty if it
-- named none
alter table passkeys add column transports text collate "C" not null default '';
