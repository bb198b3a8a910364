"""Keys and certificates of a province: root, CA, issuing and revoking."""
