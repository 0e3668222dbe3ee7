"""Sample objects and a small server to look at every component and page in every theme, without a database."""
