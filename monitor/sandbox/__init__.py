"""A stand-in for the PostPost API on loopback, for demonstrations, and the demo itself."""
