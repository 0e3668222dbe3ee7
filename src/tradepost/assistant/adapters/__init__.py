"""Language models behind `ports.ChatModel`: endpoints that speak the two protocols most of them do."""
