"""The providers, against real sockets on loopback."""
