"""The encoders: networks learnt on ImageNet, from images to features at strides 4, 8, 16 and 32."""
