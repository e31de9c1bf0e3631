"""From what somebody wrote to a task that can be stored: for clients of the API and for handlers alike."""
