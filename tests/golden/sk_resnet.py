"""ResNet-D with selective kernels as SimCLRv2 has it (arXiv 2006.10029, section 3.1), in PyTorch,
under the names that lib/resnet.h gives its parameters."""
import torch, torch.nn as nn, torch.nn.functional as F

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

def conv(i, o, kernel, stride=1, **kw):
    return nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False, **kw)

class MeanPool(nn.Module):
    """The mean of 2x2 windows over a map with one more row and column of zeros."""
    def __init__(self, stride):
        super().__init__()
        self.stride = stride
    def forward(self, x):
        return F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, self.stride)

class SkBottleneck(nn.Module):
    def __init__(self, i, c, stride, projected, **kw):
        super().__init__()
        middle = max(c // 16, 32)
        self.conv1, self.bn1 = conv(i, c, 1, **kw), nn.BatchNorm2d(c, **kw)
        self.conv2, self.bn2 = conv(c, 2 * c, 3, stride, **kw), nn.BatchNorm2d(2 * c, **kw)
        self.sk = nn.Sequential(conv(c, middle, 1, **kw), nn.BatchNorm2d(middle, **kw), nn.ReLU(),
                                conv(middle, 2 * c, 1, **kw))
        self.conv3, self.bn3 = conv(c, 4 * c, 1, **kw), nn.BatchNorm2d(4 * c, **kw)
        self.relu = nn.ReLU()
        if projected:
            self.mean = MeanPool(stride)
            self.downsample = nn.Sequential(conv(i, 4 * c, 1, **kw), nn.BatchNorm2d(4 * c, **kw))
        self.projected = projected
    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        n, c2, h, w = y.shape
        halves = y.reshape(n, 2, c2 // 2, h, w)
        logits = self.sk(halves.sum(1).mean((2, 3), keepdim=True))
        weights = logits.reshape(n, 2, c2 // 2, 1, 1).softmax(1)
        y = self.bn3(self.conv3((halves * weights).sum(1)))
        return self.relu(y + (self.downsample(self.mean(x)) if self.projected else x))

class SkResNet(nn.Module):
    def __init__(self, depth, stem, base=64, **kw):
        super().__init__()
        if stem == "cifar":
            self.conv1 = conv(3, base, 3, **kw)
        else:
            self.conv1 = nn.Sequential(
                conv(3, base // 2, 3, 2, **kw), nn.BatchNorm2d(base // 2, **kw), nn.ReLU(),
                conv(base // 2, base // 2, 3, **kw), nn.BatchNorm2d(base // 2, **kw), nn.ReLU(),
                conv(base // 2, base, 3, **kw))
        self.bn1, self.relu = nn.BatchNorm2d(base, **kw), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        i = base
        for stage, blocks in enumerate(BLOCKS[depth]):
            c, made = base << stage, []
            for b in range(blocks):
                made.append(SkBottleneck(i, c, 2 if stage and b == 0 else 1, b == 0, **kw))
                i = 4 * c
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
