//! The sequence of PostgreSQL's transaction numbers, as a part of a statement.

/// The sequence in which PostgreSQL numbers its transactions: within one, no number is given twice. Null after a crash
/// or a promotion, until the next call of `Connection::position` or `Connection::changes_since`. A replica cannot read
/// the table, and must not: its snapshots do not tell which transactions are under way.
macro_rules! xid_sequence {
    () => {
        "(select pg_postmaster_start_time()::text || ' ' || id::text from xid_sequence)"
    };
}

pub(super) use xid_sequence;
