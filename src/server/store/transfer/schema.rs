//! The tables of a database, read from its own catalogue: a table or column that a migration adds is moved with the
//! rest.

use std::collections::BTreeMap;

use super::super::connection::{Connection, Dialect};
use super::super::error::StoreError;

/// Tables whose rows belong to one database: its schema's version, the changes that its own servers have yet to read, and what
/// they ask for.
const NOT_MOVED: [&str; 5] =
    ["hallpass_migrations", "changes", "changes_deleted", "key_handovers", "xid_sequence"];

/// A table whose rows are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Sorted by name.
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(super) key: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In PostgreSQL, a type that SQLite writes in another way.
    pub(super) special: Special,
    /// In PostgreSQL, the database numbers the rows.
    pub(super) is_identity: bool,
}

/// How both databases represent the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

/// How PostgreSQL represents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    None,
    Boolean,
    Uuid,
}

impl Table {
    /// Tells whether the two have the same columns and key, whatever the database calls their types.
    pub(super) fn matches(&self, other: &Self) -> bool {
        let plain = |table: &Self| -> Vec<(String, Kind)> {
            table.columns.iter().map(|column| (column.name.clone(), column.kind)).collect()
        };
        self.name == other.name && self.key == other.key && plain(self) == plain(other)
    }

    /// The statement that returns every row in the order of the key, each value as its [`Kind`].
    pub(super) fn select(&self) -> String {
        let columns = self.columns.iter().map(|Column { name, special, .. }| match special {
            Special::None => name.clone(),
            Special::Boolean => format!("{name}::integer::bigint"),
            Special::Uuid => format!("uuid_send({name})"),
        });
        let columns: Vec<_> = columns.collect();
        format!("select {} from {} order by {}", columns.join(", "), self.name, self.key.join(", "))
    }

    /// The names of the columns, separated by commas.
    pub(super) fn column_names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }
}

/// The columns of every table: table, column, type, place in the primary key (0: none), whether it is an identity.
/// Names are those of our migrations, so they need no quotes.
const SQLITE_COLUMNS: &str = "select t.name, c.name, lower(c.type), c.pk, false \
     from sqlite_schema t join pragma_table_info(t.name) c \
     where t.type = 'table' and t.name not like 'sqlite!_%' escape '!' order by t.name, c.name";

const POSTGRES_COLUMNS: &str = "select c.table_name::text, c.column_name::text, c.data_type::text, \
     coalesce((select k.ordinal_position from information_schema.table_constraints p \
         join information_schema.key_column_usage k using (constraint_schema, constraint_name) \
         where p.constraint_type = 'PRIMARY KEY' and p.table_schema = c.table_schema \
         and p.table_name = c.table_name and k.column_name = c.column_name), 0)::bigint, \
     c.is_identity = 'YES' \
     from information_schema.columns c join information_schema.tables t using (table_schema, table_name) \
     where c.table_schema = current_schema() and t.table_type = 'BASE TABLE' \
     order by c.table_name collate \"C\", c.column_name collate \"C\"";

/// The tables that refer to others: table, the one referred to.
const SQLITE_REFERENCES: &str = "select t.name, k.\"table\" \
     from sqlite_schema t join pragma_foreign_key_list(t.name) k where t.type = 'table'";

const POSTGRES_REFERENCES: &str = "select c.relname::text, r.relname::text from pg_constraint \
     join pg_class c on c.oid = conrelid join pg_class r on r.oid = confrelid \
     where contype = 'f' and connamespace = current_schema()::regnamespace";

/// Returns the tables to move, each after those that it refers to.
pub(super) async fn tables(connection: &mut Connection) -> Result<Vec<Table>, StoreError> {
    let dialect = connection.dialect();
    let columns: Vec<(String, String, String, i64, bool)> =
        connection.query_by_dialect(SQLITE_COLUMNS, POSTGRES_COLUMNS).fetch_all().await?;
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for (table, name, type_name, place, is_identity) in columns {
        if NOT_MOVED.contains(&table.as_str()) {
            continue;
        }
        let (kind, special) = kind(dialect, &type_name).ok_or_else(|| {
            StoreError::Failed(format!("{table}.{name} has the type {type_name}, which cannot be moved"))
        })?;
        if place > 0 {
            keys.entry(table.clone()).or_default().push((place, name.clone()));
        }
        let entry =
            tables.entry(table.clone()).or_insert(Table { name: table, columns: vec![], key: vec![] });
        entry.columns.push(Column { name, kind, special, is_identity });
    }
    for (table, mut key) in keys {
        key.sort();
        if let Some(table) = tables.get_mut(&table) {
            table.key = key.into_iter().map(|(_, name)| name).collect();
        }
    }
    if let Some(table) = tables.values().find(|table| table.key.is_empty()) {
        return Err(StoreError::Failed(format!("the table {} has no primary key", table.name)));
    }
    let references: Vec<(String, String)> =
        connection.query_by_dialect(SQLITE_REFERENCES, POSTGRES_REFERENCES).fetch_all().await?;
    in_order(tables, &references)
}

fn kind(dialect: Dialect, type_name: &str) -> Option<(Kind, Special)> {
    Some(match (dialect, type_name) {
        (Dialect::Sqlite, "integer") | (Dialect::Postgres, "bigint") => (Kind::Integer, Special::None),
        (_, "text") => (Kind::Text, Special::None),
        (Dialect::Sqlite, "blob") | (Dialect::Postgres, "bytea") => (Kind::Bytes, Special::None),
        (Dialect::Postgres, "boolean") => (Kind::Integer, Special::Boolean),
        (Dialect::Postgres, "uuid") => (Kind::Bytes, Special::Uuid),
        _ => return None,
    })
}

fn in_order(
    mut tables: BTreeMap<String, Table>,
    references: &[(String, String)],
) -> Result<Vec<Table>, StoreError> {
    let mut ordered = Vec::new();
    while !tables.is_empty() {
        let waits = |name: &str| {
            references.iter().any(|(from, to)| from == name && to != name && tables.contains_key(to))
        };
        let Some(next) = tables.keys().find(|name| !waits(name)).cloned() else {
            return Err(StoreError::Failed("tables refer to each other in a circle".into()));
        };
        ordered.extend(tables.remove(&next));
    }
    Ok(ordered)
}
