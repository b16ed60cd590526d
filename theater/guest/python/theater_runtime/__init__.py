"""What stands between the component's exports and an actor's class. Actors import `theater`, never this."""
