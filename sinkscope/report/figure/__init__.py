"""A page's panels without the page, for papers: small letters, panels in fewer columns, nothing that collides."""
