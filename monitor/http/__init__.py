"""HTTP that goes out: the client, its deadline, proxies and errors."""
