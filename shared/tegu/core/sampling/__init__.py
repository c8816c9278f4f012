"""Support and query: reproducible draws that share no row, input or group."""
