"""Pages: server-rendered HTML, static files, themes and pictures. Every form works without JavaScript."""
