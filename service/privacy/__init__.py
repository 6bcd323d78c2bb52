"""What a person may ask of their data: erasure now; export and retention have their rooms."""
