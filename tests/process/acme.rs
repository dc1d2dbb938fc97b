//! Certificates that jovis gets by itself, from an authority of our own on loopback that really looks (`authority.py`).

mod first;
mod hostile;
mod lasting;
mod stand;
