"""Keys and certificates of a province: the root, the CA, what the CA issues and revokes."""
