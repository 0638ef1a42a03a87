"""The U-Net, and the methods that use it."""
