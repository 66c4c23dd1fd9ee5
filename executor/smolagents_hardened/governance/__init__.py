"""Who may call which tool with what, decided on the host before it runs."""
