//! Generated corpora: what visitors and backends say that others may read in more than one way, and who reads back what
//! leaves us: our own strict reader (`readers`), h11 and llhttp (`readers.py`).

mod answers;
mod heads;
mod readers;
mod requests;
mod trailers;
