"""Where runs are computed. `LocalEngine` uses processes of this machine; nothing else knows which it is."""
