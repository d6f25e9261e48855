"""Images and labels of any kind -> index, split and uint8 arrays."""
