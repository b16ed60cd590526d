"""What is measured of Theater: one module for each group of rows, each with `measure(effort)`."""
